"""The decision: rules, demands, ladders, plan. Pure: no I/O, no clock."""
