"""A policy and a command come in; the command runs with what the policy allows, and no more.

    policy ──▶ plan ──▶ launch (between fork and exec) ──▶ the program
                              │ listener
                              ▼
                          supervisor ──▶ report

The kernel enforces: a seccomp filter, Landlock, resource limits.  The supervisor decides the few
calls that need a decision, and says what was refused.  Nothing here imports anything else of
kernel_runner, and importing this does nothing.
"""
