"""Pure functions from arrays to numbers: metrics, calibration, spread, significance, movement."""
