"""The rim towards the open internet: what a client's URL names is fetched here, under guard."""
