"""The library behind the functions: payments, Daraja, the database and the HTTP edge."""
