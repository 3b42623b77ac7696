"""The processes of a group: main, the manager, the workers, their start, reload and end."""
