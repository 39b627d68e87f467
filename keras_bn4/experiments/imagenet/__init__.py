"""ImageNet networks on corrupted photographs.

Read `measurement`, `report`.
"""
