"""Android devices over adb: which there are, what they are, what is put on them, and programs timed there."""
