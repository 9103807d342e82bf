"""The loop: plan, act, judge, keep."""
