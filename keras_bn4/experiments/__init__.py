"""What the paper shows, run anew. Nothing in the library imports from here."""
