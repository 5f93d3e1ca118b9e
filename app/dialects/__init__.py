"""What Cloudflare speaks: requests on their way out, answers on their way in. Pure: no I/O, clocks or ids."""
