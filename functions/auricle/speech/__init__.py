"""Speech: the stages that hear. Words, voices, speakers; without any secret."""
