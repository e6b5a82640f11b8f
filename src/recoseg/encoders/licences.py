"""The licences of published weights, and what they allow."""

from __future__ import annotations

CC_BY_NC = "CC BY-NC 4.0"
APPLE_AMLR = "Apple AMLR"
"""Apple's licence for machine learning research: for research alone."""
APPLE_ASCL = "Apple ASCL"
"""Apple's sample code licence, as timm records it of the Data Filtering Networks."""
DINOV3 = "DINOv3 licence"
"""Allows commercial use under conditions of its own."""
NVIDIA_OPEN = "NVIDIA Open Model"
"""Allows commercial use under conditions of its own."""
