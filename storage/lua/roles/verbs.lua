-- Publish a role's verbs: setuid functions, and a database role with execute on them alone.

return function(prefix, verbs)
    rawset(_G, prefix, verbs)
    box.schema.role.create('broadside', {if_not_exists = true})
    for name in pairs(verbs) do
        local f = prefix .. '.' .. name
        box.schema.func.create(f, {setuid = true, if_not_exists = true})
        box.schema.role.grant('broadside', 'execute', 'function', f, {if_not_exists = true})
    end
end
