-- How full this instance's memory is. The last of it is kept for what frees memory: settlements, reports, deletions.

local memory = {}

local REFUSE = 0.95
-- As a share of all memory: how much must have become free since Tarantool refused before we ask it again.
local RELIEF = 0.01

-- Bytes that were in use just after Tarantool itself had refused a row. It may do so well before REFUSE: what is left is
-- in slabs of other sizes.
local refused_at

local function exhausted(slab)
    if refused_at ~= nil and slab.arena_used < refused_at - RELIEF * slab.quota_size then
        refused_at = nil
    end
    return refused_at ~= nil
end

-- Bytes used and bytes there are, whether new subscribers are refused, and of which instance.
function memory.usage()
    local slab = box.slab.info()
    local full = slab.arena_used > REFUSE * slab.quota_size or exhausted(slab)
    return {uuid = box.info.uuid, used = tonumber(slab.arena_used), size = tonumber(slab.quota_size), full = full}
end

-- Is this what Tarantool says when its memory is used up?
function memory.is_refusal(err)
    return type(err) == 'cdata' and (err.type == 'OutOfMemory' or err.code == box.error.MEMORY_ISSUE)
end

-- Call `f`; when Tarantool refuses for want of memory, remember it.
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

-- Raise Tarantool's own error for it, which it raises too when a slab of the right size is missing earlier.
function memory.refuse_when_full()
    local usage = memory.usage()
    if usage.full then
        box.error({code = box.error.MEMORY_ISSUE, reason = ('%d of %d bytes are used: the rest is kept for what is under way')
            :format(usage.used, usage.size)})
    end
end

return memory
