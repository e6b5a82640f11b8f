"""The licences of published weights, and what they allow."""

from __future__ import annotations

CC_BY_NC = "CC BY-NC 4.0"
APPLE_AMLR = "Apple AMLR"
"""Apple's licence for machine learning research: for research alone."""
APPLE_ASCL = "Apple ASCL"
"""Apple's sample code licence, as timm records it of the Data Filtering Networks."""
