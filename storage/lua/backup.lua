-- A backup of this instance: a checkpoint, which is all of its spaces at one moment, however much is written meanwhile.

local fiber = require('fiber')

local backup = {}

local LOOK_EVERY = 0.2 -- seconds, while Tarantool makes a checkpoint of its own

local function version(space)
    local row = box.space[space] and box.space[space]:get('schema')
    return row and row.value or box.NULL
end

local function length(space)
    return box.space[space] and box.space[space]:len() or box.NULL
end

-- What is in it. used: bytes of its rows in memory, and about the most that a checkpoint takes on the disk.
function backup.measure(roles)
    return {
        tarantool = _TARANTOOL, instance = box.info.uuid, roles = roles, memory = box.cfg.memtx_memory,
        used = box.slab.info().items_used, store_schema = version('store_meta'), queue_schema = version('tubes_state'),
        subscribers = length('store_subscribers'), campaigns = length('store_campaigns'),
    }
end

-- How many rows each space has, and how many bytes they are; and what Tarantool itself counts.
function backup.sizes()
    local spaces = {}
    for _, row in box.space._space:pairs({512}, {iterator = 'GE'}) do
        local space = box.space[row.name]
        spaces[row.name] = {rows = space:len(), bytes = space:bsize()}
    end
    return {
        tarantool = _TARANTOOL, uptime = box.info.uptime, lsn = tonumber(box.info.lsn), read_only = box.info.ro,
        memory = {limit = box.cfg.memtx_memory, used = box.slab.info().arena_used}, spaces = spaces,
    }
end

-- Make a checkpoint. Returns what is in it, with the names of its files, and a function that lets Tarantool delete them
-- again: until then they stay.
function backup.take(roles)
    while box.info.gc().checkpoint_is_in_progress do
        fiber.sleep(LOOK_EVERY)
    end
    local said = backup.measure(roles)
    box.snapshot()
    local ok, files = pcall(box.backup.start)
    if not ok then
        error('another backup is being made (wait until it has ended): ' .. tostring(files), 0)
    end
    said.files = setmetatable(files, {__serialize = 'seq'})
    return said, box.backup.stop
end

return backup
