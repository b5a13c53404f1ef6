-- Rights for users that call tubes themselves. A function with `setuid` needs none of them.

local CALLS = {'put', 'take', 'touch', 'ack', 'release', 'peek', 'bury', 'kick', 'delete'}

local function grant(user, rights, kind, name)
    box.schema.user.grant(user, rights, kind, name, {if_not_exists = true})
end

local function grant_call(user, name)
    box.schema.func.create(name, {if_not_exists = true})
    grant(user, 'execute', 'function', name)
end

--- opts: call (execute on the tube's functions by name), truncate, prefix (default "queue.tube").
return function(tube, user, opts)
    opts = opts or {}
    grant(user, 'read', 'space', '_queue')
    grant(user, 'read,write', 'space', '_queue_leases')
    grant(user, 'read,write', 'space', tube.name)
    local prefix = ('%s.%s:'):format(opts.prefix or 'queue.tube', tube.name)
    if opts.call then
        grant_call(user, 'queue.identify')
        grant_call(user, 'queue.statistics')
        for _, name in ipairs(CALLS) do
            grant_call(user, prefix .. name)
        end
    end
    if opts.truncate then
        grant_call(user, prefix .. 'truncate')
    end
end
