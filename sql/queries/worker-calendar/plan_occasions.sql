-- Plans the greetings of the next 48 hours that are not there yet.
SELECT planned, errors FROM occasions_plan()
