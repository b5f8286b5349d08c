"""One training on several processes, which share each step's products among them; see docs/training_processes.md.

`launch` starts the processes of a phase and returns what came of it, `agent` runs them by torchrun's elastic agent,
`rank` is what each of them does, `trainer` is the Trainer that shares steps, and `share` says who sees what.
"""
