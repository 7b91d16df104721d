"""Every command and event as a type; `agent_wire` and `session_wire` turn frames into them and back."""
