-- The rooms of one company. `tenant` stands for the company's schema.
CREATE TABLE tenant.rooms (
    id uuid PRIMARY KEY,
    name text NOT NULL UNIQUE CHECK (length(name) BETWEEN 1 AND 100),
    seats integer NOT NULL CHECK (seats > 0)
);
