"""What people have met in other programs for this work, told as situations from end to end."""
