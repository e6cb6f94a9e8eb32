-- Counts a request in each bucket, or in none when one of them is too full. A bucket is the instant, in microseconds, at which
-- it is full again; KEYS are the buckets, ARGV their requests a minute. Answers how far each was from being full.
-- The clock is this server's, so that those who share it need not agree about the time. The arithmetic is that of rate.rs.
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
local ahead, after, allowed = {}, {}, true
for i, key in ipairs(KEYS) do
    local limit = tonumber(ARGV[i])
    local interval = math.max(math.floor(60000000 / limit), 1)
    local burst = interval * limit
    local full_at = tonumber(redis.call('GET', key) or now)
    ahead[i] = math.min(math.max(full_at - now, 0), burst)
    after[i] = ahead[i] + interval
    allowed = allowed and after[i] <= burst
end
if allowed then
    for i, key in ipairs(KEYS) do
        redis.call('SET', key, string.format('%.0f', now + after[i]), 'PX', math.ceil(after[i] / 1000))
    end
end
return ahead
