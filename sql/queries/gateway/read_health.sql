-- Every check of the view health, as it stands.
SELECT h."check", h.ok, h.detail FROM health AS h
