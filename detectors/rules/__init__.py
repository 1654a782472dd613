"""Protocol rules: state machines and limits of the standards, one protocol per file.

A rule needs no learning to be right, but some ask the baseline how loud to be. Rules run while learning
too, and what they hit is shown before a baseline is accepted. ``docs/rules.md`` lists every rule id.
"""
