"""The administration's routes, below ``/admin``: the gate lets nobody to them but who has the admin key."""
