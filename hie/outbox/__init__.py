"""What has to be told to others: notices as rows."""
