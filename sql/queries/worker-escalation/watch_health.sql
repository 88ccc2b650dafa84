-- Opens and closes the incidents that the view health stands for, and returns what it did.
SELECT w.incident_id, w."check", w.what FROM health_watch() AS w
