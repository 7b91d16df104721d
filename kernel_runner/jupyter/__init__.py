"""Jupyter's messages in, their answers out: any of our languages as a kernel of Jupyter.

```
Jupyter ──▶ sockets ──▶ bridge ──▶ cell ──▶ kernel_runner.client ──▶ a runner of its own
```

- **sockets**: the five sockets of Jupyter's protocol, signed; frames to messages and back.
- **bridge**: who waits in line (cells) and who does not (all else); interrupt, restart, end.
- **cell**: one cell: its output, what it shows, its input and its end as Jupyter has them.
- **contents**: what our events are in Jupyter's words; **requests**: what Jupyter asks.
- **specs**: the files that make Jupyter find us.
"""
