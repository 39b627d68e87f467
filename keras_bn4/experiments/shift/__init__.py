"""Accuracy of trained networks on shifted images, before and after what adapts them.

Read `adaptations`, `measurement`, `report`, `networks`, `fixed_weights`.
"""
