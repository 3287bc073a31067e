"""Heads, trainability by depth and role, inserted modules, schedules, predictors, templates."""
