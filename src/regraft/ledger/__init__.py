"""The record: studies, runs, decisions, events, artefacts, grafts."""
