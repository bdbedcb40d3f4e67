"""The campaign engine: `next_action` decides, purely; one step per action does, thinly."""
