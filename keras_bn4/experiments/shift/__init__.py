"""Accuracy of trained networks on shifted images, before and after what adapts them.

Read `networks`, `fixed_weights`, `imagenet`.
"""
