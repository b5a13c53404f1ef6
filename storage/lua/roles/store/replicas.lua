-- A store of several instances: what is asked of the master, and what a replica may answer.

local replication = require('replication')

local replicas = {}

local REPLICA_TIMEOUT = 1 -- seconds that a replica gets to have what a claim has seen; then its master is asked

-- Is this the instance that takes writes?
function replicas.writable()
    return not box.info.ro
end

local function with_position(verdict, ...)
    if verdict ~= 'claimed' then
        return verdict, ...
    end
    local from_id, to_id, following, spans = ...
    return verdict, from_id, to_id, following, spans, replication.position()
end

-- A claim's answer, and where the base stood: a replica that is there has every subscriber of the page.
function replicas.positioned(claim)
    return function(...)
        return with_position(claim(...))
    end
end

-- `page_read` on a replica that has what the claim saw; nil: it is behind.
function replicas.reader(read)
    return function(position, ...)
        if not replication.wait(position, REPLICA_TIMEOUT) then
            return nil
        end
        return read(...)
    end
end

return replicas
