"""What a caller may use: asked before a request is sent, told afterwards what it really cost."""
