codex exec --skip-git-repo-check 'Run exec_command({"cmd": "echo it works"}) and say what it printed.'
