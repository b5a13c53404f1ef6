-- A batch as its channel's tube stores it: an array, read by position here and by `Task` in storage/records.py.
--
-- LANE: see lanes.lua; 0 is the middle one. CLASS: the window class of its recipients' time zones; BEGIN_FROM, BEGIN_UNTIL:
-- the interval, ms UTC, in which its pushes may begin; all three are 0 if no quiet hours hold. TEXTS: the version of
-- the texts with which it was taken last, 0 for the first. A remainder copies all of them from its batch.

local msgpack = require('msgpack')

local format = {
    VERSION = 1, CAMPAIGN = 2, EPOCH = 3, SEGMENT = 4, SEQ = 5, N = 6, ATTEMPT = 7, EXPIRES_AT = 8,
    LANE = 9, CLASS = 10, BEGIN_FROM = 11, BEGIN_UNTIL = 12, TEXTS = 13, SIZE = 14, RECIPIENTS = 15,
}

local NEWEST = 1
local TASK, ROW = {}, {} -- field -> its path in a task as a tube returns it, and in the tube's own row
for _, field in pairs(format) do
    TASK[field], ROW[field] = ('[3][%d]'):format(field), ('[8][%d]'):format(field)
end

-- How a task's tries and its own refusals share ATTEMPT: see `attempt` in storage/records.py.
format.REFUSALS = 1000
-- Added to ATTEMPT once its recipients are counted as unsure (unsure.lua); storage/records.py reads it too.
format.UNSURE = 1000000

-- n: the batches of a page are numbered from 1. put, unsure: as `page_put` gets them, but for put's recipients.
function format.first(epoch, campaign, segment, seq, n, put, recipients, unsure)
    local _, _, size, _, expires_at, class, from, til, lane = unpack(put, 1, 9)
    local attempt = unsure and 1 + format.UNSURE or 1
    return {NEWEST, campaign, epoch, segment, seq, n, attempt, expires_at, lane or 0, class or 0, from or 0, til or 0, 0,
            size, recipients}
end

-- One field of a task as the tube returns it. Only this one is read, so that the recipients become no Lua string.
function format.of(task, field)
    return task[TASK[field]]
end

-- The same for a row of the tube's space.
function format.of_row(row, field)
    return row[ROW[field]]
end

-- Leave only these recipients in a task, which stays where it is. `space`: the tube's.
function format.shrink(space, id, size, recipients)
    space:update(id, {{'=', ROW[format.SIZE], size}, {'=', ROW[format.RECIPIENTS], recipients}})
end

-- Note that a task's recipients are counted as unsure. `space`: the tube's.
function format.count_unsure(space, id)
    space:update(id, {{'+', ROW[format.ATTEMPT], format.UNSURE}})
end

-- Note the version of the texts with which a task was taken. `space`: the tube's.
function format.set_texts(space, id, version)
    space:update(id, {{'=', ROW[format.TEXTS], version}})
end

-- A remainder of a task. n: negative, and made from the take's number, so that no other batch of this epoch has it.
function format.remainder(task, number, p, attempt, size, recipients)
    local rest = {NEWEST}
    for field = format.CAMPAIGN, format.TEXTS do
        rest[field] = format.of(task, field)
    end
    rest[format.N], rest[format.ATTEMPT] = -(number * 16 + p - 1), attempt
    rest[format.SIZE], rest[format.RECIPIENTS] = size, recipients
    return rest
end

local function is_unsigned(value)
    return (type(value) == 'number' and value >= 0 and value == math.floor(value)) or
        (type(value) == 'cdata' and tostring(value):find('^%d+ULL$') ~= nil)
end
format.is_unsigned = is_unsigned

-- Whether we can read this data as a batch; the recipients are not checked.
function format.is_batch(data)
    if type(data) ~= 'table' or data[format.VERSION] ~= NEWEST or type(data[format.N]) ~= 'number' then
        return false
    end
    for field = format.CAMPAIGN, format.SIZE do
        if field ~= format.N and not is_unsigned(data[field]) then
            return false
        end
    end
    return true
end

-- The ids of a batch's recipients, or nil if it cannot be read.
function format.ids(data)
    if not format.is_batch(data) then
        return nil
    end
    local ok, rows = pcall(msgpack.decode, tostring(data[format.RECIPIENTS]))
    if not ok or type(rows) ~= 'table' then
        return nil
    end
    local ids = {}
    for i, row in ipairs(rows) do
        if type(row) ~= 'table' or not is_unsigned(row[1]) then
            return nil
        end
        ids[i] = row[1]
    end
    return ids
end

return format
