"""Recording what Workers AI really answers, with every secret taken out, for the emulator to replay.

It stands where the upstream stands, passes everything on, and writes each exchange down. Of the proxy it uses the
upstream connection and the codec alone, and of the emulator nothing: they agree on the form of a recording, which
``flarelay emulate --replay`` reads.
"""
