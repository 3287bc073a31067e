"""Which run comes next, at what cost, and why; driving a run and writing down what it says."""
