"""Files that others could have written or may read: checked before they are read, private when written."""
