DROP TABLE tenant.bookings;
