-- A room is booked by one meeting at a time; the constraint says so, whoever writes.
CREATE TABLE tenant.bookings (
    id uuid PRIMARY KEY,
    room_id uuid NOT NULL REFERENCES tenant.rooms (id),
    title text NOT NULL CHECK (length(title) BETWEEN 1 AND 200),
    starts_at timestamptz NOT NULL,
    ends_at timestamptz NOT NULL,
    CHECK (ends_at > starts_at)
);
CREATE INDEX bookings_by_room ON tenant.bookings (room_id, starts_at);
GRANT SELECT, INSERT, UPDATE, DELETE ON tenant.bookings TO tenant_role;
