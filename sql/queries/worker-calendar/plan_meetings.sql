-- Opens the incidents of stored meetings that have come within the horizon ($1 ms), whether or
-- not their calendars can be read just now, and closes those that are over.
SELECT p.opened, p.incidents, meeting_close() AS closed
FROM meeting_plan($1::bigint * interval '1 millisecond') AS p
