-- How full this instance is. The last part is for work that frees memory: settlements, reports, deletions.

local fiber = require('fiber')
local disk = require('roles.disk')
local quota = require('quota')
local memory = {}

local REFUSE = 0.95
-- Share of all memory that must have become free since Tarantool refused before new work is accepted again …
local RELIEF = 0.01
-- … or seconds since then: what it refused may have been one large row, with room for smaller ones.
local REMEMBERED = 30

-- {bytes that were in use when Tarantool itself refused a row, since when}. It may refuse well before REFUSE, if the
-- free memory is in slabs of other sizes.
local refused

-- Whether this is Tarantool's error for memory that is used up.
function memory.is_refusal(err)
    return type(err) == 'cdata' and (err.type == 'OutOfMemory' or err.code == box.error.MEMORY_ISSUE)
end

local function finish(ok, ...)
    if not ok then
        local err = (...)
        if type(err) == 'cdata' and err.type == 'OutOfMemory' then -- Tarantool's own, not `refuse_when_full`'s
            refused = {tonumber(box.slab.info().arena_used), fiber.clock()}
            quota.lend()
        end
        error(err, 0)
    end
    return ...
end

-- Call `f`, outside of any transaction; if Tarantool refuses for lack of memory, that is remembered, and it gets some
-- for the caller's next try.
function memory.noticed(f, ...)
    return finish(pcall(f, ...))
end

-- Whether work that would only grow must wait: the one meaning of `full`, in verbs and in what people see.
function memory.full()
    local used, size = tonumber(box.slab.info().arena_used), quota.configured()
    if refused ~= nil and (used < refused[1] - RELIEF * size or fiber.clock() > refused[2] + REMEMBERED) then
        refused = nil
    end
    return refused ~= nil or used > REFUSE * size
end

-- This instance's uuid, bytes used, bytes for data, whether new work is refused, and whether the disk is full.
function memory.usage()
    return {
        uuid = box.info.uuid, used = tonumber(box.slab.info().arena_used), size = quota.configured(),
        full = memory.full(), disk_full = disk.full(),
    }
end

-- Raise Tarantool's own error for it.
function memory.refuse_when_full()
    if memory.full() then
        local usage = memory.usage()
        box.error({code = box.error.MEMORY_ISSUE, reason = ('%d of %d bytes are used: the rest is for work under way')
            :format(usage.used, usage.size)})
    end
end

return memory
