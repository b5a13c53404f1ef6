-- How full this instance's memory is. The last of it is kept for what frees memory: settlements, reports, deletions.

local memory = {}

local REFUSE = 0.95

-- Bytes used and bytes there are, and of which instance.
function memory.usage()
    local slab = box.slab.info()
    return {uuid = box.info.uuid, used = tonumber(slab.arena_used), size = tonumber(slab.quota_size)}
end

function memory.full()
    local slab = box.slab.info()
    return slab.arena_used > REFUSE * slab.quota_size
end

-- Raise Tarantool's own error for it, which it raises too when a slab of the right size is missing earlier.
function memory.refuse_when_full()
    if memory.full() then
        local usage = memory.usage()
        box.error({code = box.error.MEMORY_ISSUE, reason = ('%d of %d bytes are used: the rest is kept for what is under way')
            :format(usage.used, usage.size)})
    end
end

return memory
