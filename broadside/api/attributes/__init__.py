"""Attributes of subscribers as other systems write them, brought to the one form that Broadside stores.

A phone is worth more than an attribute: what can be converted is, and an attribute that cannot be is dropped alone.
Import, API and ``subscribers put`` share these rules.
"""
