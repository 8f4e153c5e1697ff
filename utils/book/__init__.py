"""What makes the pages and keeps them true."""
