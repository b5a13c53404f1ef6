-- How full this instance is. The last part is for work that frees memory: settlements, reports, deletions.

local disk = require('roles.disk')
local memory = {}

local REFUSE = 0.95
-- Share of all memory that must have become free since Tarantool refused before we try again.
local RELIEF = 0.01

-- Bytes that were in use just after Tarantool itself had refused a row. It may refuse well before REFUSE, if the free
-- memory is in slabs of other sizes.
local refused_at

local function exhausted(slab)
    if refused_at ~= nil and slab.arena_used < refused_at - RELIEF * slab.quota_size then
        refused_at = nil
    end
    return refused_at ~= nil
end

-- This instance's uuid, bytes used, bytes in all, whether new subscribers are refused, and whether the disk is full.
function memory.usage()
    local slab = box.slab.info()
    local full = slab.arena_used > REFUSE * slab.quota_size or exhausted(slab)
    return {
        uuid = box.info.uuid, used = tonumber(slab.arena_used), size = tonumber(slab.quota_size), full = full,
        disk_full = disk.full(),
    }
end

-- Whether this is Tarantool's error for memory that is used up.
function memory.is_refusal(err)
    return type(err) == 'cdata' and (err.type == 'OutOfMemory' or err.code == box.error.MEMORY_ISSUE)
end

-- Call `f`; if Tarantool refuses for lack of memory, remember it.
function memory.noticed(f, ...)
    local function finish(ok, ...)
        if not ok then
            if memory.is_refusal((...)) then
                refused_at = box.slab.info().arena_used
            end
            error((...), 0)
        end
        return ...
    end
    return finish(pcall(f, ...))
end

function memory.full()
    local slab = box.slab.info()
    return slab.arena_used > REFUSE * slab.quota_size
end

-- Raise Tarantool's own error for it; Tarantool itself raises it earlier if it has no slab of the right size.
function memory.refuse_when_full()
    local usage = memory.usage()
    if usage.full then
        box.error({code = box.error.MEMORY_ISSUE, reason = ('%d of %d bytes are used: the rest is for work under way')
            :format(usage.used, usage.size)})
    end
end

return memory
