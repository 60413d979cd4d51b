"""People who sign in by another house: who they are here, how they come and go, and what joins the two."""
