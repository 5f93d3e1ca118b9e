"""The door: routes, callers, replies. HTTP in, HTTP out; what happens between is the exchange's."""
