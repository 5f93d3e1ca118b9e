"""The waist: the few words that surfaces, dialects and the exchange share. No I/O, no clocks, no ids."""
